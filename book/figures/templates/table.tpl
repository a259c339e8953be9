<table class="dataframe" id="{{uuid}}">
  <caption><div>{{caption}}</div></caption>
  <thead>
{%- for row in head %}
    <tr>
{%- for cell in row if cell.is_visible %}
      <th>{{cell.display_value}}</th>
{%- endfor %}
    </tr>
{%- endfor %}
  </thead>
  <tbody>
{%- for row in body %}
    <tr>
{%- for cell in row if cell.is_visible %}
      <td>{{cell.display_value}}</td>
{%- endfor %}
    </tr>
{%- endfor %}
  </tbody>
</table>
